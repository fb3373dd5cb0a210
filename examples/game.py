"""A game: collect the coin before the others. The server moves all players, and tells them how things stand."""

import asyncio
import random
from typing import Annotated, Any

from msgspec import Meta, Struct
from website import run

from trunkline.realtime import Client, Realtime

TICK = 1 / 20  # seconds
SPEED = 15  # per tick, in an arena of 1000 by 1000
REACH = 40  # how near a coin is near enough

Direction = Annotated[int, Meta(ge=-1, le=1)]


class Steer(Struct):
    """Where a player wants to go."""

    dx: Direction
    dy: Direction


class Player(Struct):
    """Where a player is, and what for."""

    x: int
    y: int
    coins: int = 0
    dx: int = 0
    dy: int = 0


players: dict[str, Player] = {}
coin = [500, 500]

rt = Realtime()
arena = rt.channel("arena", slow="drop_oldest")  # an old state of the world is of no use to a player


@rt.on_connect
def enter(client: Client) -> None:
    """A player starts anywhere."""
    players[client.id] = Player(random.randrange(1000), random.randrange(1000))


@rt.on_message
def steer(client: Client, wish: Steer) -> None:
    """Players say where they want to go, never where they are."""
    players[client.id].dx, players[client.id].dy = wish.dx, wish.dy


@rt.on_disconnect
def leave(client: Client) -> None:
    """And gone."""
    players.pop(client.id, None)


def move(player: Player) -> None:
    """Move a player by one step; a player that comes near the coin takes it."""
    player.x = min(1000, max(0, player.x + SPEED * player.dx))
    player.y = min(1000, max(0, player.y + SPEED * player.dy))
    if abs(player.x - coin[0]) < REACH and abs(player.y - coin[1]) < REACH:
        player.coins += 1
        coin[:] = random.randrange(1000), random.randrange(1000)


def world() -> dict[str, Any]:
    """How things stand."""
    return {"coin": coin, "players": players}


async def play() -> None:
    """Keep the world going."""
    while True:
        await asyncio.sleep(TICK)
        for player in players.values():
            move(player)
        await rt.publish("arena", world())


if __name__ == "__main__":
    run(rt, "game.html", background=play)
