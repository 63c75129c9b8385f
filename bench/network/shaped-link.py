"""Passes packets between TUN devices in two network namespaces, each direction at a limited rate and each packet held up: DEVICE PID DELAY_MS MBIT QUEUE_MS.

One TUN device is made in the namespace that this program is started in, the other in that of the process PID, both with the name DEVICE. A packet waits for those
before it in its direction, QUEUE_MS at most, beyond which it is dropped, and arrives DELAY_MS after it was sent. The program ends at the end of its standard input.
"""

import collections
import ctypes
import fcntl
import os
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
CLONE_NEWNET = 0x40000000
READ_AT_ONCE = 64

device, pid, delay_ms, mbit, queue_ms = sys.argv[1:]
delay = float(delay_ms) / 1000
bytes_per_second = float(mbit) * 1_000_000 / 8
longest_wait = float(queue_ms) / 1000


def enter(namespace):
    """Makes a network namespace that of this thread."""
    with open(namespace, "rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")


def open_tun():
    """Opens a TUN device of this thread's namespace."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
    return tun


class Direction:
    """What is under way from one TUN device to the other."""

    def __init__(self, source, target):
        self.source = source
        self.target = target
        # Pairs of the time of arrival and the packet, in order.
        self.under_way = collections.deque()
        # When the last packet will have been sent.
        self.busy_until = 0.0

    def read_packets(self, now):
        for _ in range(READ_AT_ONCE):
            try:
                packet = os.read(self.source, 65_535)
            except BlockingIOError:
                return
            if packet[0] >> 4 != 4 or self.busy_until - now > longest_wait:
                continue
            self.busy_until = max(now, self.busy_until) + len(packet) / bytes_per_second
            self.under_way.append((self.busy_until + delay, packet))

    def deliver(self, now):
        while self.under_way and self.under_way[0][0] <= now:
            os.write(self.target, self.under_way.popleft()[1])


here = open_tun()
own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
enter(f"/proc/{pid}/ns/net")
there = open_tun()
enter(f"/proc/self/fd/{own}")
directions = {here: Direction(here, there), there: Direction(there, here)}
print("attached", flush=True)

while True:
    arrivals = [one.under_way[0][0] for one in directions.values() if one.under_way]
    wait = max(0, min(arrivals) - time.monotonic()) if arrivals else None
    readable, _, _ = select.select([here, there, sys.stdin], [], [], wait)
    now = time.monotonic()
    for source, direction in directions.items():
        direction.deliver(now)
        if source in readable:
            direction.read_packets(now)
    if sys.stdin in readable and not os.read(0, 64):
        break
