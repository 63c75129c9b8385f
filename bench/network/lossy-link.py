"""Reads packets from a TUN device, holds each one up, drops some, and writes the others back: DEVICE DELAY_MS LOSS_PERCENT SEED.

The kernel treats the packets written back as received from the network, so TCP on both sides is the kernel's own, end to end. Each line on
standard input is answered with `counts NUMBER PASSED DROPPED`. The program ends at the end of its standard input.
"""

import collections
import fcntl
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
# Maximum number of packets held: 60 MB, ten times what Linux lets one connection have in transit. Further packets are dropped and counted as dropped.
MOST_HELD = 40_000
READ_AT_ONCE = 64

device, delay_ms, loss_percent, seed = sys.argv[1:]
delay = float(delay_ms) / 1000
loss = float(loss_percent) / 100
chance = random.Random(int(seed))
tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
print("attached", flush=True)

held = collections.deque()
passed = dropped = asked = 0


def read_packets():
    """Reads packets from the kernel, and decides for each one whether it is held or dropped."""
    global dropped
    due = time.monotonic() + delay
    for _ in range(READ_AT_ONCE):
        try:
            packet = os.read(tun, 65_535)
        except BlockingIOError:
            return
        if packet[0] >> 4 != 4:
            continue
        if chance.random() < loss or len(held) >= MOST_HELD:
            dropped += 1
        else:
            held.append((due, packet))


while True:
    wait = max(0, held[0][0] - time.monotonic()) if held else None
    readable, _, _ = select.select([tun, sys.stdin], [], [], wait)
    now = time.monotonic()
    while held and held[0][0] <= now:
        os.write(tun, held.popleft()[1])
        passed += 1
    if tun in readable:
        read_packets()
    if sys.stdin in readable:
        if not os.read(0, 64):
            break
        asked += 1
        print(f"counts {asked} {passed} {dropped}", flush=True)
