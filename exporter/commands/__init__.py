"""What the command line offers, one module per command.

A command has `add_arguments(parser)` and gives its exit status: `run(args)`, or `run(args, config)` if it works on the
servers of the config. exporter.cli lists them.
"""
