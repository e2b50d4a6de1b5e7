"""What links in webhooks begin with."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import pytest

from services.alarms.adapters.address import console_address, told_far_away
from shared.config.services import ConsoleConfig, WebhookCentre
from tests.support.webhooks import TEST_SECRET


def config(**values: object) -> ConsoleConfig:
    return ConsoleConfig.model_validate({"port": 8780, **values})


@pytest.mark.parametrize(
    ("host", "url", "doubtful"),
    [
        ("127.0.0.1", "http://127.0.0.1:8780", True),
        ("::1", "http://[::1]:8780", True),
        ("localhost", "http://localhost:8780", True),
        ("192.0.2.7", "http://192.0.2.7:8780", False),
        ("2001:db8::7", "http://[2001:db8::7]:8780", False),
        ("fe80::7%eth0", "http://[fe80::7%25eth0]:8780", False),
        ("nvr.example", "http://nvr.example:8780", False),
    ],
)
def test_it_is_made_from_host_and_port(host: str, url: str, doubtful: bool) -> None:
    address = console_address(config(host=host))
    assert (address.url, bool(address.doubt)) == (url, doubtful)
    assert urlsplit(address.url).port == 8780


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_of_a_console_that_listens_everywhere_it_is_this_machines(host: str) -> None:
    named = urlsplit(console_address(config(host=host)).url).hostname
    assert named
    try:
        assert not ipaddress.ip_address(named).is_unspecified
    except ValueError:
        assert named.isprintable()  # no way out of here: the machine's name


def test_what_is_configured_is_taken() -> None:
    address = console_address(config(host="0.0.0.0", public_url="https://nvr.example/"))
    assert (address.url, address.doubt) == ("https://nvr.example", "")


def test_a_port_that_is_chosen_at_every_start_is_no_address() -> None:
    assert "console.port is 0" in console_address(config(host="192.0.2.7", port=0)).doubt


def test_centres_on_this_machine_reach_it() -> None:
    def centre(url: str, enabled: bool = True) -> WebhookCentre:
        return WebhookCentre.model_validate({"id": "c", "url": url, "secret": TEST_SECRET, "enabled": enabled})

    assert not told_far_away([])
    assert not told_far_away([centre("http://127.0.0.1:9/x"), centre("http://[::1]/"), centre("https://centre.example", False)])
    assert told_far_away([centre("http://127.0.0.1:9/x"), centre("https://centre.example/alarms")])
