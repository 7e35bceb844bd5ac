"""Pod settings of Actions that the Pod Security Standard `baseline` allows, and refuses (for rule and chart)."""


def _both(**context):
    """The same as the pod's and as the container's context."""
    return [{"podSecurityContext": context}, {"securityContext": context}]


ALLOWED = [
    {},
    {"volumes": [{"name": "x", "emptyDir": {}}, {"name": "y", "secret": {"secretName": "s"}}]},
    {"volumes": [{"name": "x", "hostPath": None, "emptyDir": {}}]},
    {"securityContext": {"privileged": False, "capabilities": {"add": ["CHOWN", "NET_BIND_SERVICE"], "drop": ["ALL"]}}},
    {"securityContext": {"capabilities": {"drop": ["ALL"]}, "procMount": "Default"}},
    {"securityContext": {"capabilities": None, "seLinuxOptions": None, "windowsOptions": None}},
    {"podSecurityContext": {"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}], "runAsUser": 0}},
    *_both(seccompProfile={"type": "RuntimeDefault"}, appArmorProfile={"type": "Localhost", "localhostProfile": "x"}),
    *_both(seLinuxOptions={"type": "container_t", "level": "s0:c1,c2", "user": "", "role": ""}),
    *_both(windowsOptions={"hostProcess": False}),
    {"annotations": {"container.apparmor.security.beta.kubernetes.io/w": "localhost/mine", "a": "unconfined"}},
    {"volumes": None, "securityContext": None, "podSecurityContext": None, "annotations": None},
]
REFUSED = [
    {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "x", "hostPath": {"path": "/"}}]},
    {"securityContext": {"privileged": True}},
    {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}},
    {"securityContext": {"capabilities": {"add": ["CHOWN", "NET_RAW"]}}},
    {"securityContext": {"capabilities": {"add": ["ALL"]}}},
    {"securityContext": {"capabilities": {"add": ["CAP_CHOWN"]}}},
    {"securityContext": {"procMount": "Unmasked"}},
    *_both(seccompProfile={"type": "Unconfined"}),
    *_both(appArmorProfile={"type": "Unconfined"}),
    *_both(seLinuxOptions={"type": "spc_t"}),
    *_both(seLinuxOptions={"user": "system_u"}),
    *_both(seLinuxOptions={"type": "container_t", "role": "sysadm_r"}),
    *_both(windowsOptions={"hostProcess": True}),
    {"podSecurityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]}},
    {"podSecurityContext": {"sysctls": [{"name": "net.ipv4.tcp_syncookies"}, {"name": "vm.swappiness"}]}},
    {"annotations": {"container.apparmor.security.beta.kubernetes.io/action-worker": "unconfined"}},
]
