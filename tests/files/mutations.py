"""Broken files: a good one with bits flipped, bytes overwritten or left out, cut off."""

import random
from collections.abc import Iterator

_INTERESTING = (b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\x00\x00\x00")


def mutated(body: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` broken ones; the same seed breaks them in the same way.

    Half of the damage is done to the first 512 bytes, where the formats keep what decoders trust.
    """
    chance = random.Random(seed)
    for _ in range(count):
        broken = bytearray(body)
        for _ in range(chance.choice((1, 1, 2, 8))):
            if not broken:
                break
            end = len(broken) if chance.random() < 0.5 else min(512, len(broken))
            place = chance.randrange(end)
            match chance.randrange(5):
                case 0 | 1:
                    broken[place] ^= 1 << chance.randrange(8)
                case 2:
                    value = chance.choice(_INTERESTING)
                    broken[place : place + len(value)] = value
                case 3:
                    del broken[place : place + chance.randrange(1, 64)]
                case 4:
                    del broken[place:]
        yield bytes(broken)
