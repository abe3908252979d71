"""CoordExp inside other people's trainers: ms-swift 4.6.

`ms_swift` connects a run of `swift sft` to our objective, adapter and optimizer groups, and all
else here is a part of that. ms-swift loads `ms_swift_plugin` by path (`ms_swift_place`), which
registers `ms_swift_parts`, the one module that imports `swift` when it is imported. `ms_swift_run`
is `host: ms_swift` of `coordexp train`.

`ms_swift_config` translates the settings, `ms_swift_refusals` says what does not go together,
`ms_swift_template` and `ms_swift_messages` keep the text the same, `ms_swift_tuner` makes and
restores adapters, `ms_swift_trainer` computes the loss.
"""
