"""A real single-node Apache Kafka for tests: jars from Maven Central, kept in a cache folder, run by the machine's Java.

Needs `java` (17 or later) and, for the first run, `mvn` with a way to its repository.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.cache import LIMIT_S, kept
from tests.support.compose import broker_properties
from tests.support.ports import free_ports

#: That of docker-compose.yml (tests/repo/test_compose.py).
KAFKA_VERSION = "4.3.1"
_LOG4J_VERSION = "2.25.4"
START_S = 240.0
STOP_S = 60.0

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>vedette.tests</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>
<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>{_LOG4J_VERSION}</version></dependency>
<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>{_LOG4J_VERSION}</version></dependency>
</dependencies></project>"""

_LOGGING = """rootLogger.level=warn
rootLogger.appenderRef.stdout.ref=stdout
appender.stdout.type=Console
appender.stdout.name=stdout
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=%d %p %m%n
"""


class KafkaMissing(Exception):
    """This machine cannot run a broker; the text says why."""


@dataclass
class KafkaServer:
    """A running broker. `address`: host:port on loopback."""

    address: str
    process: subprocess.Popen[bytes]
    folder: Path
    config: Path
    jars: Path

    @classmethod
    def start(cls, port: int | None = None, *, composed: bool = False, settings: str = "") -> KafkaServer:
        """Start a broker, on `port` or any free one.

        Args:
            composed: with the settings of docker-compose.yml.
            settings: further lines of server.properties.

        Raises:
            KafkaMissing: none can run here.
        """
        classes = jars()
        folder = Path(tempfile.mkdtemp(prefix="vedette-kafka-"))
        any_port, controller = free_ports(2)
        port = port or any_port
        config = folder / "server.properties"
        properties = broker_properties(folder / "logs", port, controller) if composed else _properties(folder, port, controller)
        config.write_text(properties + settings, encoding="utf-8")
        (folder / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        subprocess.run(
            [*_java(classes, folder, 128), "kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", _cluster_id(), "-c", config],
            check=True, capture_output=True, timeout=START_S,
        )  # fmt: skip
        server = cls(f"127.0.0.1:{port}", _launch(classes, folder, config), folder, config, classes)
        server._wait()
        return server

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait(STOP_S)

    def restart(self) -> None:
        """After `kill`: the same log folder, the same port."""
        self.process = _launch(self.jars, self.folder, self.config)
        self._wait()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self) -> None:
        host, port = self.address.split(":")
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        log = (self.folder / "broker.log").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise RuntimeError(f"the broker did not start:\n{log}")


def _launch(jars: Path, folder: Path, config: Path) -> subprocess.Popen[bytes]:
    with (folder / "broker.log").open("ab") as log:
        return subprocess.Popen([*_java(jars, folder, 512), "kafka.Kafka", str(config)], stdout=log, stderr=log)


def _java(jars: Path, folder: Path, heap_mib: int) -> list[str]:
    settings = (folder / "log4j2.properties").as_uri()
    return ["java", f"-Xmx{heap_mib}m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={settings}", "-cp", f"{jars}/*"]


def jars() -> Path:
    """The folder of jars, filled on the first run.

    Raises:
        KafkaMissing: none can run here.
    """
    if shutil.which("java") is None:
        raise KafkaMissing("no `java` here (a JRE 17 or later runs the broker)")
    return kept(f"kafka-{KAFKA_VERSION}", _get) / "lib"


def _get(folder: Path) -> None:
    if shutil.which("mvn") is None:
        raise KafkaMissing("no `mvn` here to get the broker's jars with")
    (folder / "pom.xml").write_text(_POM, encoding="utf-8")
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib"]
    subprocess.run(command, cwd=folder, check=True, timeout=LIMIT_S)


def _cluster_id() -> str:
    import base64

    return "V" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]  # never `-` first: the tool would take it for an option


def _properties(folder: Path, port: int, controller: int) -> str:
    return f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder / "logs"}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


@contextmanager
def running_broker(*, composed: bool = False, settings: str = "") -> Iterator[KafkaServer]:
    """A broker, on request with the settings of docker-compose.yml, or more; the test is skipped where none can run."""
    try:
        server = KafkaServer.start(composed=composed, settings=settings)
    except KafkaMissing as missing:
        pytest.skip(str(missing))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaServer]:
    """A running broker of the test module's own."""
    with running_broker() as server:
        yield server


@pytest.fixture
def own_broker() -> Iterator[KafkaServer]:
    """A running broker with nothing on it, of one test, which may kill it."""
    with running_broker() as server:
        yield server


@pytest.fixture
def composed_broker() -> Iterator[KafkaServer]:
    """As `own_broker`, with the settings of docker-compose.yml."""
    with running_broker(composed=True) as server:
        yield server
