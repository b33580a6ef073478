"""What Python's Socket.IO clients rely on, held for the synchronous and the asynchronous one, over each transport, with
a cookie and with a token. SOUK_PEOPLE says who is there."""

import asyncio
import json
import os
import threading
import time

import socketio

PEOPLE = json.loads(os.environ["SOUK_PEOPLE"])
ANN, BOBS = PEOPLE["ann"], PEOPLE["bobs"]
TRANSPORTS = {"websocket": ["websocket"], "polling and an upgrade": None, "polling alone": ["polling"]}
PATIENCE = 15
FIELDS = {"senderId", "receiverId", "text", "seen", "messageId", "conversationId", "createdAt"}

failures = []
threading.excepthook = lambda failure: failures.append(repr(failure.exc_value))


class Blocking:
    """The synchronous client, with the asynchronous one's face."""

    in_order = False

    def __init__(self):
        self.client = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.2)

    def on(self, event, handler):
        self.client.on(event, handler)

    async def call(self, method, *args, **named):
        return await asyncio.to_thread(getattr(self.client, method), *args, **named)

    async def cut(self):
        await asyncio.to_thread(self.client.eio.ws.close)


class Asynchronous:
    in_order = True

    def __init__(self):
        self.client = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.2)

    def on(self, event, handler):
        self.client.on(event, handler)

    async def call(self, method, *args, **named):
        return await getattr(self.client, method)(*args, **named)

    async def cut(self):
        await self.client.eio.ws.close()


async def until(what, ask):
    deadline = time.monotonic() + PATIENCE
    while not ask():
        assert not failures, failures
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.02)


class Page:
    def __init__(self, kind, person):
        self.person, self.other = person, BOBS if person is ANN else ANN
        self.messages, self.users, self.connects, self.drops = [], [], 0, 0
        self.wire = kind()
        # Handlers take exactly one argument: one more, and they fail.
        self.wire.on("getMessage", lambda message: self.messages.append(message))
        self.wire.on("getUsers", self.told)
        self.wire.on("connect", self.connected)
        self.wire.on("disconnect", self.dropped)

    def told(self, users):
        self.users = users

    def connected(self):
        self.connects += 1

    def dropped(self, reason=None):
        self.drops += 1

    async def open(self, transports, proof):
        proofs = {
            # A function, because the blocking client takes the cookie out of a dictionary when it is upgraded, and
            # would come back without.
            "cookies": {"headers": lambda: {"Cookie": self.person["cookies"]}},
            "token": {"auth": {"token": self.person["token"]}},
        }
        await self.wire.call("connect", PEOPLE["chat"], transports=transports, wait_timeout=PATIENCE, **proofs[proof])
        return self

    async def ask(self, text, **extra):
        payload = {"senderId": self.person["id"], "receiverId": self.other["id"], "text": text, **extra}
        return await self.wire.call("call", "sendMessage", payload, timeout=PATIENCE)

    async def says(self, *texts):
        for text in texts:
            assert (await self.ask(text))["success"] is True, text

    async def shows(self, *texts):
        """Waits for these messages, and holds that no others have come."""
        shown = lambda: [message["text"] for message in self.messages]
        await until(f"{texts} at the page", lambda: set(texts) <= set(shown()))
        # The blocking client has a thread for each event: their order is its own.
        in_order = (lambda all: all) if self.wire.in_order else sorted
        assert in_order(shown()) == in_order(list(texts)), shown()
        self.messages = []

    async def online(self, person, wanted=True):
        ids = lambda: [user["userId"] for user in self.users]
        await until(f"{person} online: {wanted}", lambda: self.users and (person in ids()) is wanted)

    async def comes_back_from_a_cut(self):
        connects = self.connects
        await self.wire.cut()
        await until("the return", lambda: self.connects > connects)

    async def close(self):
        await self.wire.call("disconnect")


async def story(kind, name, transports, proof):
    anns = await Page(kind, ANN).open(transports, proof)
    bobs = await Page(kind, BOBS).open(transports, proof)
    await anns.wire.call("emit", "addUser", ANN["id"])
    await anns.online(ANN["id"])
    await anns.online(BOBS["id"])
    assert all(set(user) == {"userId", "socketId"} for user in anns.users), anns.users

    receipt = await anns.ask("with an acknowledgement")
    await until("the message", lambda: bobs.messages)
    assert set(bobs.messages[0]) == FIELDS, bobs.messages
    wanted = (ANN["id"], BOBS["id"], False, receipt["messageId"], PEOPLE["conversation"])
    found = tuple(bobs.messages[0][field] for field in ("senderId", "receiverId", "seen", "messageId", "conversationId"))
    assert found == wanted, found
    await bobs.shows("with an acknowledgement")

    # Few: a poll that is answered with more than sixteen packets at once ends the connection of Python's clients.
    texts = [f"in order {at}" for at in range(12)]
    for text in texts:
        payload = {"senderId": ANN["id"], "receiverId": BOBS["id"], "text": text}
        await anns.wire.call("emit", "sendMessage", payload)
    await bobs.shows(*texts)

    for event in ["nothing", "addUser", "sendMessage", "updateLastMessage", "messageSeen"]:
        for payload in [None, (), b"binary", {"deep": [b"binary"]}, (1, "two", None)]:
            await anns.wire.call("emit", event, payload)
    assert (await anns.ask(b"binary"))["success"] is False
    assert (await anns.ask("x", senderId=BOBS["id"]))["success"] is False

    # There is nothing to cut between two polls.
    for time_ in [] if transports == ["polling"] else ["first", "second", "third"]:
        await bobs.comes_back_from_a_cut()
        await anns.says(f"after the {time_} time")
        await bobs.shows(f"after the {time_} time")
    await bobs.close()
    await anns.online(BOBS["id"], wanted=False)
    await anns.close()


async def main():
    for kind in [Blocking, Asynchronous]:
        for name, transports in TRANSPORTS.items():
            for proof in ["cookies", "token"]:
                began = time.monotonic()
                await story(kind, name, transports, proof)
                assert not failures, failures
                print(f"ok    {kind.__name__}, {name}, {proof} ({time.monotonic() - began:.1f} s)", flush=True)
    print("all passed")


asyncio.run(main())
