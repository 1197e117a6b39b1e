"""The command line `ms-omni`: one small module per subcommand; heavy imports happen only inside a command that runs."""
