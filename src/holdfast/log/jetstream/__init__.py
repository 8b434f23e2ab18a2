"""The distributed log: one JetStream stream, replicated on three servers, with one frame in each message.

    connection   who may connect, and a client whose settings suit a log
    api          one question to JetStream and its answer
    stream       the stream: its settings, making it, what it says about itself
    publisher    one attempt to append one frame
    read_path    one connection and the consumer behind it
    follower     two read paths made one sequence of frames, and the faults of a log that can be seen
    log          the `Log` of a process that wants no event loop of its own
    tasks        ending tasks that use the library
    server       the program `nats-server`

What lives here: what the broker does and fails to do. What may not: what a frame means. Importing `holdfast.log` does
not need the library nats-py; importing these modules does.
"""
