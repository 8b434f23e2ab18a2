"""The replay of a crash on the real engine: three processes and a journal.

    client (`run`)  ── commands ──▶  engine (`engine_process`)  ── frames ──▶  log
        │  ◀── acknowledgements ──        killed once, restarted                │
        ▼                                                                       ▼
    journal, forced to disk                                      audit (`audit`): a fresh process
        └──────────────── compared with ────────────────────────── that folds the log from 0

Nothing that the engine says of itself counts: what was acknowledged stands in the client's journal, and what is in the
log is read by a process that has neither the engine's memory nor its snapshots.
"""
