"""Cold commands, one module per family: definitions, accounts, time, roles. Each handler checks, then commits."""
