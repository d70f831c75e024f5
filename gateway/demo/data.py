"""The workshop's people and jobs: made up, and the same at every start.

Addresses are of ``example.com`` (RFC 2606 section 3), so that no mail could ever reach anybody.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

SHOP: Final = "Freewheel"
"""The workshop's name, as its pages show it."""


@dataclass(frozen=True, slots=True)
class Account:
    """One person who can sign in to the demo; ``custom_claims`` is the account's ``customAttributes`` object."""

    email: str
    passphrase: str = field(repr=False)
    display_name: str
    custom_claims: Mapping[str, Any]


ADA: Final = Account(
    "ada@example.com",
    "true wheels turn quietly",
    "Ada Lindqvist",
    MappingProxyType({"roles": ["mechanic"]}),
)
"""The ready account that the terminal and the login page offer."""

BO: Final = Account(
    "bo@example.com",
    "oil the chain on fridays",
    "Bo Achterberg",
    MappingProxyType({"roles": ["front-desk"]}),
)
NOOR: Final = Account(
    "noor@example.com",
    "keys hang behind the door",
    "Noor Haddad",
    MappingProxyType({"roles": ["owner", "mechanic"]}),
)

ACCOUNTS: Final = (ADA, BO, NOOR)
"""Every account that the demo seeds."""


class Status(enum.StrEnum):
    """Where a job stands; the value is what a page prints."""

    WAITING = "waiting"
    ON_THE_STAND = "on the stand"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Job:
    """One repair. ``estimate`` is in whole euros; ``mechanic`` is None while nobody has taken the job."""

    number: int
    bicycle: str
    customer: str
    fault: str
    work: tuple[str, ...]
    status: Status
    due: str
    estimate: int
    mechanic: Account | None
    note: str

    def as_json(self) -> dict[str, Any]:
        """The job as ``/api/jobs`` shows it."""
        return {
            "number": self.number,
            "bicycle": self.bicycle,
            "customer": self.customer,
            "fault": self.fault,
            "work": list(self.work),
            "status": self.status.value,
            "due": self.due,
            "estimate_eur": self.estimate,
            "mechanic": None if self.mechanic is None else self.mechanic.display_name,
        }


_JOBS: Final = (
    Job(
        number=7,
        bicycle="Gazelle Tour Populair, black",
        customer="Mrs Okonjo",
        fault="The back-pedal brake squeals and drags.",
        work=("Open and clean the brake hub", "Fresh brake grease", "Set the chain tension"),
        status=Status.ON_THE_STAND,
        due="today, 16:00",
        estimate=55,
        mechanic=ADA,
        note="Rides to choir at five. Ring her as soon as it stands on its own wheels.",
    ),
    Job(
        number=12,
        bicycle="Brompton M6L, racing green",
        customer="Tomás Rivera",
        fault="Gear lever jumps from three to one.",
        work=("New gear cable", "Adjust the indicator chain"),
        status=Status.READY,
        due="today, 12:00",
        estimate=38,
        mechanic=NOOR,
        note="Paid in advance. Wants the old cable back for his collection.",
    ),
    Job(
        number=18,
        bicycle="Surly Cross-Check, rust orange",
        customer="Ines Fontaine",
        fault="Creaks on every climb.",
        work=("Take out and grease the bottom bracket", "Torque the chainring bolts"),
        status=Status.WAITING,
        due="tomorrow, 11:00",
        estimate=64,
        mechanic=ADA,
        note="Creak is on the left, standing up, after rain. Test ride before you touch anything.",
    ),
    Job(
        number=23,
        bicycle="Puky 18-inch, yellow",
        customer="Family Brandt",
        fault="Training wheels off, please. Big day.",
        work=("Remove the training wheels", "Raise the saddle by two centimetres"),
        status=Status.READY,
        due="today, 15:30",
        estimate=0,
        mechanic=BO,
        note="On the house. Bring a plaster to the handover.",
    ),
    Job(
        number=31,
        bicycle="Urban Arrow cargo bike, white",
        customer="Bakery Zeller",
        fault="Rear brake pads worn to the metal.",
        work=("New pads", "New rotor", "Bleed the brake"),
        status=Status.ON_THE_STAND,
        due="today, 18:00",
        estimate=142,
        mechanic=NOOR,
        note="Needed for the five o'clock bread round tomorrow. This one cannot slip.",
    ),
    Job(
        number=42,
        bicycle="Peugeot PX-10, 1974, pearl white",
        customer="Dr Elias Marsh",
        fault="Restore to riding order, keep the patina.",
        work=("True both wheels", "Re-pack all bearings", "Cotter pins", "Gum-wall tyres"),
        status=Status.ON_THE_STAND,
        due="in two weeks",
        estimate=420,
        mechanic=ADA,
        note="His father's. French threads everywhere: check twice, force nothing.",
    ),
    Job(
        number=44,
        bicycle="Canyon Grail, matt blue",
        customer="Yuki Tanabe",
        fault="Tubeless tyre loses air overnight.",
        work=("New rim tape", "Fresh sealant"),
        status=Status.WAITING,
        due="Saturday, 10:00",
        estimate=47,
        mechanic=None,
        note="Gravel race on Sunday.",
    ),
)

JOBS: Final[Mapping[int, Job]] = MappingProxyType({job.number: job for job in _JOBS})
"""Every job on the board, by number."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the workshop's day, for the live stream; ``job`` is a number in :data:`JOBS`."""

    who: str
    what: str
    job: int


HAPPENINGS: Final = (
    Happening("Ada", "lifted the Gazelle onto stand 2", 7),
    Happening("Noor", "bled the rear brake of the cargo bike", 31),
    Happening("Bo", "rang the Brandts: the Puky is ready", 23),
    Happening("Ada", "opened the brake hub and found twenty years of dust", 7),
    Happening("Noor", "fitted the new rotor", 31),
    Happening("Ada", "trued the front wheel of the Peugeot to half a millimetre", 42),
    Happening("Bo", "sold a bell with a frog on it", 12),
    Happening("Noor", "shifted the Brompton through all six gears", 12),
    Happening("Bo", "promised Yuki a slot before Saturday", 44),
    Happening("Ada", "put the kettle on and went looking for the creak", 18),
)
"""What the live stream tells, over and over."""
