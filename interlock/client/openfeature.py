"""An OpenFeature provider that evaluates inside the process: no call, the gateway's own answer.

Needs the extra `openfeature`. In a request that carries a release, that release decides;
elsewhere the targeting key is the subject.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openfeature.exception import (
    FlagNotFoundError,
    GeneralError,
    ProviderNotReadyError,
    TargetingKeyMissingError,
    TypeMismatchError,
)
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import Metadata

from interlock.client.carry import current
from interlock.client.client import Client
from interlock.errors import NotFound, Unavailable
from interlock.serve.flags import Flag

Context = Any  # openfeature.evaluation_context.EvaluationContext, or None


class InterlockProvider:
    """`api.set_provider(InterlockProvider(client))`; `client` is started by its owner."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def attach(self, on_emit: Callable[..., None]) -> None:
        """Nothing is emitted: an evaluation always looks at the newest Route."""

    def detach(self) -> None:
        """Nothing was attached."""

    def initialize(self, evaluation_context: Context) -> None:
        """Ready once a Route is known."""
        try:
            self._client.stable()
        except Unavailable as error:
            raise ProviderNotReadyError(error.message) from error

    def shutdown(self) -> None:
        """The client goes on: it is its owner's."""

    def get_metadata(self) -> Any:
        return Metadata(name="interlock")

    def get_provider_hooks(self) -> list[Any]:
        return []

    def track(self, tracking_event_name: str, *more: Any) -> None:
        """Nothing is tracked: predictions are logged where they are made."""

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: Context = None
    ) -> Any:
        return self._resolve(flag_key, (bool,), evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: Context = None
    ) -> Any:
        return self._resolve(flag_key, (str,), evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: Context = None
    ) -> Any:
        return self._resolve(flag_key, (), evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: Context = None
    ) -> Any:
        return self._resolve(flag_key, (), evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[Any] | Mapping[str, Any],
        evaluation_context: Context = None,
    ) -> Any:
        return self._resolve(flag_key, (), evaluation_context)

    async def resolve_boolean_details_async(self, *asked: Any, **named: Any) -> Any:
        return self.resolve_boolean_details(*asked, **named)

    async def resolve_string_details_async(self, *asked: Any, **named: Any) -> Any:
        return self.resolve_string_details(*asked, **named)

    async def resolve_integer_details_async(self, *asked: Any, **named: Any) -> Any:
        return self.resolve_integer_details(*asked, **named)

    async def resolve_float_details_async(self, *asked: Any, **named: Any) -> Any:
        return self.resolve_float_details(*asked, **named)

    async def resolve_object_details_async(self, *asked: Any, **named: Any) -> Any:
        return self.resolve_object_details(*asked, **named)

    def _resolve(self, key: str, kinds: tuple[type, ...], context: Context) -> Any:
        about = context.attributes if context else {}
        flag = self._flag(key, context.targeting_key if context else None, about)
        if type(flag.value) not in kinds:
            raise TypeMismatchError(f"{key} is {type(flag.value).__name__}")
        return FlagResolutionDetails(
            value=flag.value,
            reason=Reason(flag.reason),
            variant=flag.variant,
            flag_metadata={"epoch": flag.epoch, "release": flag.release},
        )

    def _flag(self, key: str, subject: str | None, about: Mapping[str, object]) -> Flag:
        carried = current()
        if carried is None and not subject:
            raise TargetingKeyMissingError("the targeting key is the subject, as text")
        try:
            return self._client.flag(key, subject, carried, about)
        except NotFound as error:
            raise FlagNotFoundError(error.message) from error
        except Unavailable as error:
            raise GeneralError(error.message) from error
