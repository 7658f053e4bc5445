"""
Interleavings: several clients at once, one round trip at a time, in every order and with every fault.

    A  ├─ claim ──▶ executed        the reply is held back   ──▶ complete
    B       ├─ claim ──▶ executed, and nobody will hear of it
    clock            ·····▶ the lease ends

The clients run the very code that ships, which stops at every round trip. Whoever drives them decides who goes next, what
becomes of a request, and what time it is: a random choice that shrinks (`machine`), or every choice there is (`exhaustive`).
Each execution of a script is held against the specification there and then, and so is the end of each operation against what
it asked and heard. So a failure needs no witness order: the first move that differs is the failure.
"""
