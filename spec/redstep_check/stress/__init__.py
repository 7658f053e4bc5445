"""
Stress: the shipped clients under threads, tasks and processes, on a real engine, for a stated time; and what came of it.

        client  ──┬──────── charge ─────────┬──      what a caller asks and is told: an operation
        lane         └─ EVALSHA ─┘ └─ EVALSHA ─┘     what goes over a connection: requests, the time that each was sent with
                       ✗ cut                         its outcome is unknown, and stays open to the end

Nothing is simulated here. Operating system, event loop and engine decide who goes next, so a run can't be repeated move by
move: what it leaves behind is a history, and the history is judged. Where explored schedules are exact and small, this is
large and true.

**What is an operation.** Linearizability is judged on requests, each script call an operation of its own: one step of the
specification with the very time that was sent. A public operation is more than one step: an append reads the head and links
anew after a conflict, a run claims and completes, a breaker's call acquires and reports, and whatever is sent again after a
lost reply is sent at another time. A model of those would have to guess what the requests say outright. What it takes to make
good public operations of good requests is judged apart, by laws of linear time: what carries no identity is sent once (CM-4),
an error is definite only if nothing can have been executed (CM-9), an answer is what the last request was answered, and what
the guard adds.

**How it is recorded.** By the connection. The clients get a `redis.Redis` whose connections keep a log of the script calls
that pass through, byte for byte, so nothing of the clients is replaced. Places in the order of events come from one counter,
drawn before the first byte is sent and after the last one is read: within a process one call of C, across processes a file in
memory under `flock`, which the kernel gives back when its holder is killed. Every event is written by one system call, before
the request and after the reply, so that a SIGKILL loses nothing that was written; a last line that is torn is left out.

**What a kill leaves.** A request of which nobody heard has no completion: it may take effect at any time, or never. The killed
process does not come back; its replacement is a client of another name. Threads and tasks can't be killed alone, so their
connections are cut by the engine, of those that bear this run's name, and only on an engine that the kit started (CK-13).

**Time.** With an explicit clock (the default) clients send milliseconds of one clock that they all read, each a little wrong,
and a request's time is part of it: so the model has no clock, and the history is exact for the specification. Scripts take a
time that went backward for the newest they know, and so does the specification (RL-5). With the engine's own clock a request
of unknown outcome has no known time, so there only one-sided laws hold: what is unknown is left out, which can hide, and
never alarm. The audit chain knows no time, and is judged in full.

**Keys** are fresh for every so many events: which key is current is read off the counter itself, so that all clients go on
together and nobody waits. It bounds how long a history gets, and there are no histories to be cut: each begins with an empty
key. The time is spent in slices; after each all clients stop, what is stored is read, each key is judged on its own, and the
keys are removed. A chain that is read then is one more observation: it spares the search the orders of lost appends that it
excludes. Only keys under the run's random prefix are ever touched.

**Verdicts.** `holds`; `broken`, with rule, timeline and the history in a file; `undecided`, if a search was given up;
`vacuous`, if nothing overlapped, nothing was answered, no kill hit a request under way, or what the guard is about did not
happen, though the run went on for three times its time (CK-7).
"""
