"""Which Kubernetes API is meant: URLs, the section of the file, the environment, a kubeconfig, a pod; and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from k3.core.errors import ConfigInvalid
from k3.settings.load import Flags, Place, load
from k3.settings.structs import Settings
from k3.stores.kubernetes import KubernetesStorage
from k3.stores.kubernetes.credentials import Credentials


def loaded(store: str | None = None, *, config: Path | None = None, **environ: str) -> Settings:
    flags = Flags(store=store, config=str(config) if config else None)
    return load(flags, Place(environ, is_root=False), reading=False)


URLS = {
    "https://hub:8443": KubernetesStorage(server="https://hub:8443"),
    "https://hub:8443/": KubernetesStorage(server="https://hub:8443"),
    "https://rancher.example/k8s/clusters/c-1": KubernetesStorage(server="https://rancher.example/k8s/clusters/c-1"),
    "https://[fd00::1]:8443?ca_file=/etc/k3/ca.crt": KubernetesStorage(
        server="https://[fd00::1]:8443", ca_file="/etc/k3/ca.crt"
    ),
    "https://hub?token_file=/t&cert_file=/c&key_file=/k&server_name=x": KubernetesStorage(
        server="https://hub", token_file="/t", cert_file="/c", key_file="/k", server_name="x"
    ),
    "http://127.0.0.1:8080": KubernetesStorage(server="http://127.0.0.1:8080"),
    "http://localhost:8080": KubernetesStorage(server="http://localhost:8080"),
    "http://[::1]:8080": KubernetesStorage(server="http://[::1]:8080"),
    "kubernetes://hub:8443": KubernetesStorage(server="https://hub:8443"),
    "kubernetes://": KubernetesStorage(),
    "kubeconfig:///etc/k3/hub.yaml?context=hub": KubernetesStorage(kubeconfig="/etc/k3/hub.yaml", context="hub"),
}


@pytest.mark.parametrize("url", URLS)
def test_a_url_names_an_api(url: str) -> None:
    assert loaded(url).storage == URLS[url]


REFUSED = {
    "https://k3:hunter2@hub": "a user or password in it is not taken; set K3_STORE_TOKEN, or token_file",
    "https://hub?token=hunter2": "unknown key",
    "https://": "",
    "https://hub:x": "bad server, expected like https://hub:8443",
    "https://h u b": "bad server",
    "http://hub:8080": "http:// is for this machine alone",
    "http://127.0.0.1.nip.io": "http:// is for this machine alone",
    "http://127.0.0.1:8080?token_file=/t": "a token or certificate is not shown over http://",
    "kubeconfig://relative": "expected the path of a file",
    "kubeconfig:///x?ca_file=/c": "unknown key",
    "https://hub?key_file=/k": "name cert_file too",
    "k8s://hub": 'k3 has no store "k8s"; it has etcd, kubernetes, memory, mysql, sqlite; did you mean "kubernetes"?',
}


@pytest.mark.parametrize("url", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line_without_its_secret(url: str) -> None:
    if not REFUSED[url]:  # nobody is named: that is the pod's own cluster
        assert loaded(url).storage == KubernetesStorage()
        return
    with pytest.raises(ConfigInvalid, match=re.escape(REFUSED[url])) as found:
        loaded(url)
    assert "hunter2" not in str(found.value)


def test_the_file_and_the_environment_say_the_rest(tmp_path: Path) -> None:
    config = tmp_path / "k3.yaml"
    section = {"server": "https://hub:8443", "token": "hunter2", "ca_file": "/ca"}
    config.write_text(json.dumps({"storage": {"type": "kubernetes", "kubernetes": section}}))
    assert loaded(config=config).storage == KubernetesStorage(**section)
    with_other = loaded(config=config, K3_STORE_TOKEN="other")
    assert with_other.storage == KubernetesStorage(**{**section, "token": "other"})
    assert with_other.reader.environ == "K3_STORE_TOKEN=... "
    assert "hunter2" not in repr(loaded(config=config)) + loaded(config=config).storage.url
    url = loaded("kubeconfig:///x", config=config).storage
    assert (url.url, url.has_password) == ("kubeconfig:///x", True)
    assert loaded("sqlite:///x.db", K3_STORE_TOKEN="other").reader.environ == ""
    config.write_text(json.dumps({"storage": {"type": "kubernetes", "kubernetes": {"context": "c"}}}))
    with pytest.raises(ConfigInvalid, match=r"storage\.kubernetes\.context is that of a kubeconfig"):
        loaded(config=config)


def test_a_pod_finds_its_own_cluster(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of-the-account\n")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("k3.stores.kubernetes.credentials._context", lambda _: None)  # there is no CA here to trust
        login = Credentials(KubernetesStorage(), environ=environ, account=tmp_path).login
    assert (login.url, login.token, login.token_file) == ("https://[fd00::1]:443", "of-the-account", str(tmp_path / "token"))


def config_of(user: Any, cluster: Any) -> str:
    context = {"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}]}
    return json.dumps({**context, "clusters": [{"name": "k", "cluster": cluster}], "users": [{"name": "u", "user": user}]})


HUB = {"server": "https://hub:8443"}
KUBECONFIGS = {
    "exec": (config_of({"exec": {"command": "aws"}}, HUB), "has exec: a program that gives a token, which k3 does not run"),
    "password": (config_of({"username": "x", "password": "hunter2"}, HUB), "has username: a password"),
    "act-as": (config_of({"as": "root"}, HUB), "has as: another user to act as"),
    "insecure": (config_of({}, {**HUB, "insecure-skip-tls-verify": True}), "insecure-skip-tls-verify is not taken"),
    "no-server": (config_of({}, {}), "bad server, expected like https://hub:8443"),
    "plain": (config_of({}, {"server": "http://hub:8080"}), "http:// is for this machine alone"),
    "token": (config_of({"token": 7}, HUB), "token: expected text"),
    "base64": (config_of({}, {**HUB, "certificate-authority-data": "hunter2!"}), "certificate-authority-data: expected base64"),
    "pem": (config_of({}, {**HUB, "certificate-authority-data": "aGVsbG8="}), "ca_file: in the kubeconfig: it holds no cert"),
    "empty": ("", "it has no current-context"),
    "yaml": ("a: [", "not valid YAML"),
    "lists": ('{"current-context": "c", "contexts": {"c": 1}}', "none of its contexts is named c"),
}


@pytest.mark.parametrize("case", KUBECONFIGS)
def test_a_kubeconfig_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    text, said = KUBECONFIGS[case]
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(Exception, match=re.escape(said)) as found:
        Credentials(KubernetesStorage(kubeconfig=str(file)))
    assert "hunter2" not in str(found.value)
    assert "\n" not in str(found.value)
