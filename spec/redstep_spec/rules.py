"""
Rules: the sentence behind each ID.

Replies, state fields and branches of the specification carry these IDs, so that a difference between an implementation and
the specification names the rule that it breaks.
"""

RULES = {
    "CM-1": "One step of an operation is one script call, and a script that answers with an error has written nothing.",
    "CM-2": "A script takes its time as an argument, or the engine's own, and its reply carries the time that was used.",
    "CM-3": "Expiry is garbage collection: no TTL is shorter than the logical life, and removing the dead changes no answer.",
    "CM-4": "What carries an identity may be sent again byte for byte; what carries none is executed at most once.",
    "CM-5": "No client library repeats a call by itself.",
    "CM-6": "That the engine forgot a script never reaches a caller, and uses up no budget.",
    "CM-7": "A name is 1 to 512 bytes of UTF-8 without control characters and braces, and two names never collide.",
    "CM-8": "Replies are integers and strings of fixed arity, and numbers stay below 2^53.",
    "CM-9": "An error says whose fault it is, and is definite only if nothing can have been executed.",
    "CM-10": "Sync and asyncio behave alike; after a cancellation compensation is carried out, and the cancellation goes on.",
    "RL-0": "A limiter decides by reading and writes only to admit; what it stores is of the documented form.",
    "RL-1": "At time now an admission at t counts while t > now - W.",
    "RL-2": "A call is admitted if and only if what is counted and its cost stay within the effective limit.",
    "RL-3": "A denial changes nothing, not a byte.",
    "RL-4": "retry_after is exact: after that wait the same call is admitted, and one millisecond earlier it is not.",
    "RL-5": "Time never runs backward: a clock behind the newest admission is taken for that admission's.",
    "RL-6": "A cost is an integer from 1 to L; above the cold limit it waits for the end of the cold start.",
    "RL-7": "The same request id inside the window is admitted once, and its first cost stands.",
    "RL-8": "At most 1.25 L + 64 entries are stored, and the TTL is always the newest stamp + W - now.",
    "RL-9": "During the cold start the limit is max(1, floor(L * percent / 100)); from exactly its end on it is L.",
    "RL-10": "Only after a local denial the global limit is asked; if that fails, the local decision stands, marked degraded.",
    "RL-11": "In any window the admissions of all regions stay within the sum of their limits and the global one.",
    "RL-14": "A peek reads without consuming, and a reset forgets.",
    "RL-15": "Of several limits all are charged or none, and the reply is about the binding one.",
    "RL-16": "Denied, store failed, pool exhausted and impossible are four outcomes, never merged.",
    "RL-17": "With its memory full the engine still denies, admits nothing, and does not grow.",
    "RL-18": "A local denial is repeated while it holds, for the same cost and every dearer one, and never beyond.",
}
