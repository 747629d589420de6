import subprocess

import pytest

from tests.programs import require_program


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """(certificate, key): files of a self-signed certificate for the name `server` and the server's addresses."""
    folder = tmp_path_factory.mktemp("certificate")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [require_program("openssl"), "req", "-x509", "-nodes", "-days", "36500", "-subj", "/CN=server"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-addext", "subjectAltName=DNS:server,IP:127.0.0.1,IP:10.0.0.2"]
    subprocess.run(
        [*command, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=30
    )
    return certificate, key
