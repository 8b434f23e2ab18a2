"""The engine's rules and, later, the fold: pure functions of what is given, without clock, randomness or I/O."""
