"""Machines that are far away: takes connections at one address, passes them on to another, and holds everything back for half a
round trip each way, the setting up of the connection included. For kernels without netem."""

import asyncio
import threading


async def take(reader, held, delay, earliest):
    """Notes what arrives, with the time when it is due at the other end."""
    now, data = asyncio.get_running_loop().time, b"?"
    while data:
        try:
            data = await reader.read(65536)
        except ConnectionError:
            data = b""
        held.put_nowait((max(now(), earliest) + delay, data))


async def deliver(held, writer):
    """Passes on each piece when its time has come; those under way do not wait for each other."""
    try:
        while True:
            due, data = await held.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            if not data:
                return writer.close()
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass


async def connected(real, delay, reader, writer):
    # The kernel accepted at once. Far away the client knows after a round trip, and sshd half a one later.
    begun = asyncio.get_running_loop().time()
    out, back = asyncio.Queue(), asyncio.Queue()
    taking = asyncio.create_task(take(reader, out, delay, begun + 2 * delay))
    await asyncio.sleep(3 * delay)
    far_reader, far_writer = await asyncio.open_connection(real, 22)
    await asyncio.gather(taking, deliver(out, far_writer), take(far_reader, back, delay, 0), deliver(back, writer))


async def serve(pairs, delay, ready):
    for address, real in pairs:
        await asyncio.start_server(lambda r, w, real=real: connected(real, delay, r, w), address, 22)
    ready.set()
    await asyncio.Event().wait()


def start(pairs, round_trip_ms):
    """Begins, in a thread of its own, and returns when all addresses answer."""
    ready = threading.Event()
    serving = threading.Thread(target=lambda: asyncio.run(serve(pairs, round_trip_ms / 2000, ready)), daemon=True)
    serving.start()
    if not ready.wait(10):
        raise RuntimeError("the relay does not start")
