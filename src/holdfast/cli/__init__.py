"""What people type: arguments, files, tables in the terminal, exit statuses.

What lives here: reading what a command names and showing what the rooms below answer. What may not: a formula. Exit
statuses: 0 done, 1 a check failed (conformance), 2 the input cannot be used, 130 interrupted.
"""
