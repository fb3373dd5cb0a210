"""A stock ticker. Prices that a slow client has not read yet are replaced by newer ones of the same stock."""

import asyncio
import random

from website import run

from trunkline.realtime import Client, Realtime

prices = {"TRNK": 101.25, "WIRE": 48.5, "ROOM": 7.75, "PING": 230.0, "PONG": 229.5}

rt = Realtime()


@rt.channel("prices", slow="conflate")
def subscribe(client: Client) -> dict[str, float]:
    """A new subscriber gets all prices at once, and from then on each change."""
    return prices


async def trade() -> None:
    """Make up prices."""
    while True:
        await asyncio.sleep(random.expovariate(10))
        symbol = random.choice(list(prices))
        prices[symbol] = round(max(0.25, prices[symbol] * random.gauss(1, 0.004)), 2)
        await rt.publish("prices", {"symbol": symbol, "price": prices[symbol]}, key=symbol)


if __name__ == "__main__":
    run(rt, "ticker.html", background=trade)
