"""What ms-swift loads by path: `swift sft ... --external_plugins "$(coordexp swift plugin)"`."""

from importlib import import_module

from coordexp.integrations.ms_swift.refusals import check_ms_swift

check_ms_swift()
# Not before: the parts are made for one version.
import_module("coordexp.integrations.ms_swift.parts").register()
