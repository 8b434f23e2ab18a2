"""Offline checks of the core against the outside: published cases now, reconciliation and back-tests later.

What lives here: tools that call the functions of production. What may not: a calculator of their own.
"""
