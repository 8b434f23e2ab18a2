"""Cases published by other systems, run against the functions that production calls; specs/conformance.md."""
