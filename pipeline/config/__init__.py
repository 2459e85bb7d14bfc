"""The settings: their schema, how a command line becomes one, and how a wrong one is explained."""
