"""The command line: `app` assembles it, every other module holds one command.

A command's module imports what it runs only when it is called.
"""
