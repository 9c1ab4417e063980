"""Which worker gets which shard: the pool of workers with a fake Ray, so that a test can choose the order of events."""

from __future__ import annotations

import random
from collections import Counter, deque
from types import SimpleNamespace

import pytest
import torch

import deconvnet
from deconvnet.errors import EngineError

pytest.importorskip("pyarrow")

from deconvnet.scanning import ray_pool
from deconvnet.scanning.engine import Shard
from deconvnet.scanning.ray_worker import Worker


class Lost(Exception):
    """An actor that is dead."""


class Token(tuple):
    """An answer: like Ray's, each is a key of its own."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


class FakeRay:
    """Has room for `room` actors at once; `pick` chooses the next of the possible answers, `dies` says whether it is lost."""

    exceptions = SimpleNamespace(RayError=Lost, RayTaskError=type("Never", (Exception,), {}))

    def __init__(self, room: int, pick, dies) -> None:
        self.room, self.pick, self.dies, self.actors, self.at_once = room, pick, dies, [], 0

    def options(self, **options):
        return self

    def remote(self, *given):
        """Return what stands for the class at first, then new actors."""
        if given == (Worker,):
            return self
        actor = SimpleNamespace(number=len(self.actors), is_alive=True, is_dead=False)
        actor.ready = SimpleNamespace(remote=lambda probe: Token((actor, None)))
        actor.run = SimpleNamespace(remote=lambda shard, floor: Token((actor, shard)))
        self.actors.append(actor)
        return actor

    def wait(self, answers, num_returns):
        running = [id(actor) for actor in self.actors if actor.is_alive][: self.room]
        can_come = [answer for answer in answers if id(answer[0]) in running]
        assert can_come, f"no actor can run: {len(answers)} answers are awaited"
        self.at_once = max(self.at_once, *Counter(id(actor) for actor, shard in answers if shard).values(), 0)
        return [self.pick(can_come)], []

    def get(self, answer):
        actor, shard = answer
        if shard is None:
            return {
                "host": f"node-{actor.number}",
                "version": deconvnet.__version__,
                "torch": torch.__version__,
                "sees_probe": True,
            }
        actor.is_dead |= self.dies(actor, shard)
        if actor.is_dead:
            raise Lost("its node died")
        return shard

    def kill(self, actor):
        actor.is_alive = False


class Failed(Lost):
    """An actor whose start raised."""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Failed("Traceback\nValueError: no weights"), "a worker cannot start: ValueError: no weights. See Ray's logs."),
        (
            Lost("Traceback\nModuleNotFoundError: No module named 'nets'\nand more"),
            f"a worker cannot import what it needs: No module named 'nets'. Install deconvnet {deconvnet.__version__} and the"
            " net's packages on every machine of Ray.",
        ),
        (
            Lost("The actor failed to import."),
            f"a worker cannot import what it needs: The actor failed to import. Install deconvnet {deconvnet.__version__} and"
            " the net's packages on every machine of Ray.",
        ),
        (Lost("its node died"), "a worker cannot start: its node died. See Ray's logs."),
    ],
    ids=["its start raises", "a module is missing", "its class cannot be imported", "again and again"],
)
def test_workers_that_do_not_start(error, text, monkeypatch):
    """What keeps a worker from starting is said in one line; a worker that is lost is tried a few times."""

    def get(answer):
        raise error

    fake = FakeRay(1, lambda answers: answers[0], None)
    fake.exceptions = SimpleNamespace(RayError=Lost, RayTaskError=Failed)
    fake.get = get
    pool = pool_of(fake, 1, monkeypatch)
    with pytest.raises(EngineError) as raised:
        list(pool.work(deque(shards_of(2)), lambda: None))
    assert str(raised.value) == text
    assert len(fake.actors) == (1 + ray_pool.MAX_WORKER_DEATHS if "died" in str(error) else 1)


def test_a_shard_that_kills_every_worker(monkeypatch):
    """After three deaths the pictures of the shard are named."""
    fake = FakeRay(2, lambda answers: answers[0], lambda actor, shard: shard.number == 2)
    pool = pool_of(fake, 1, monkeypatch)
    died = r"^a worker on node-\d died; its pictures go to the next free worker\. its node died\.$"
    with pytest.warns(UserWarning, match=died), pytest.raises(EngineError) as error:
        list(pool.work(deque(shards_of(3)), lambda: None))
    assert str(error.value) == (
        "3 workers died over the pictures '2.png' to '2.png': its node died. See Ray's logs; a smaller --batch needs less memory."
    )


def pool_of(fake, workers: int, monkeypatch) -> ray_pool.WorkerPool:
    monkeypatch.setattr(ray_pool, "unpack", lambda shard: shard)
    return ray_pool.WorkerPool(fake, None, None, count=workers)


def shards_of(count: int):
    return [Shard(number, number, [f"{number}.png"], [number]) for number in range(1, count + 1)]


@pytest.mark.filterwarnings("ignore:a worker on .* died")
def test_lost_work_goes_to_idle_workers(monkeypatch):
    """A death that is noticed when all others have run out of work, and hold the cores that a new worker would need."""

    def dies(actor, shard):
        if actor.number == 2:
            fake.room = 2  # its machine is gone, and the cores with it
        return actor.number == 2

    def late(answers):
        return min(answers, key=lambda answer: answer[0].number == 2 and answer[1] is not None)

    fake = FakeRay(3, late, dies)
    pool = pool_of(fake, 3, monkeypatch)
    shards = list(pool.work(deque(shards_of(9)), lambda: None))
    assert sorted(shard.number for shard in shards) == list(range(1, 10))


@pytest.mark.filterwarnings("ignore:a worker on .* died")
@pytest.mark.parametrize("seed", range(40))
def test_every_shard_is_found_once_whatever_the_order(seed, monkeypatch):
    """Answers in any order, workers that die at random, less room than workers: each shard once, two at most for a worker."""
    chance, deaths = random.Random(seed), Counter()

    def dies(actor, shard):
        deaths[shard.number] += 1
        is_lost = deaths[shard.number] < ray_pool.MAX_WORKER_DEATHS and chance.random() < 0.2
        fake.room = max(1, fake.room - (is_lost and chance.random() < 0.5))  # with its machine, or alone
        return is_lost

    fake = FakeRay(chance.randint(1, 4), chance.choice, dies)
    pool = pool_of(fake, chance.randint(1, 5), monkeypatch)
    shards = shards_of(chance.randint(1, 20))
    done = list(pool.work(deque(shards), lambda: None))
    assert sorted(shard.number for shard in done) == [shard.number for shard in shards]
    assert fake.at_once <= ray_pool.SHARDS_PER_WORKER
