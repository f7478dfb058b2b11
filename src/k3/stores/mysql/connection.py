"""asyncmy's connection, with what it leaves out.

TLS only where the server has it; whether the server has greeted; and a login only by a way that also works after the server's
restart (ADR 22). The one module besides `store` that knows asyncmy.
"""

from typing import Any, Final

import asyncmy
from asyncmy import auth
from asyncmy.constants.CLIENT import SSL
from asyncmy.errors import OperationalError

from k3.stores.mysql.refusals import NO_TLS_THERE, PLUGIN

NEEDS_RSA: Final = "'cryptography' package is required"
"""How asyncmy's own message begins."""

_HASHED: Final = frozenset({"caching_sha2_password", "sha256_password"})


_Connection: Any = asyncmy.Connection


class MysqlConnection(_Connection):  # type: ignore[misc]  # what is overridden here, asyncmy's stubs leave out
    """One connection. `may_be_plain`: without TLS where the server has none."""

    def __init__(self, *, may_be_plain: bool, **settings: Any) -> None:  # noqa: ANN401 - asyncmy's own
        super().__init__(**settings)
        self._may_be_plain = may_be_plain
        self._plugin = ""
        self.waits_for_greeting = False
        """The server has accepted the connection, and has not sent its greeting yet."""

    async def connect(self) -> None:
        """Connects and logs in. Raises what asyncmy does, and OperationalError for a login by the server's cache alone."""
        await super().connect()
        if self._lacks_rsa():
            # The server had the password's hash in its cache, from another login. After its next restart it has not.
            self.close()
            raise OperationalError(PLUGIN, NEEDS_RSA)

    def _lacks_rsa(self) -> bool:
        plugin = self._plugin or self._auth_plugin_name
        return plugin in _HASHED and bool(self._password) and not self._secure and not auth._have_cryptography  # noqa: SLF001 - asyncmy's way to know

    async def _get_server_information(self) -> None:
        self.waits_for_greeting = True
        await super()._get_server_information()
        self.waits_for_greeting = False
        if not self._client_flag & SSL or self.server_capabilities & SSL:
            return
        if not self._may_be_plain:
            raise OperationalError(NO_TLS_THERE, "no TLS")
        # asyncmy reads both after the greeting: without them it goes on in plain text, as the `mysql` client does.
        self._ssl_context = None
        self._client_flag &= ~SSL

    async def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> Any:  # noqa: ANN401 - asyncmy's own
        self._plugin = plugin_name.decode("ascii", "replace")
        if self._plugin == "mysql_clear_password" and not self._secure:
            raise OperationalError(PLUGIN, "mysql_clear_password, which would send the password unencrypted")
        return await super()._process_auth(plugin_name, auth_packet)
