"""Rules: pure state machines, one instance per channel and configured rule."""

from __future__ import annotations

from services.analytics.core.rules.base import Phase, Rule, RuleEvent, Scene, State
from services.analytics.core.rules.build import build

__all__ = ["Phase", "Rule", "RuleEvent", "Scene", "State", "build"]
