"""JSON schemas of what is launched, written here after the public references; unknown keys are errors.

They hold those parts alone that the files use, so that a key which is new in a file has to be looked up
before it is added here.

- Compose: the Compose Specification (github.com/compose-spec/compose-spec, schema/compose-spec.json).
- RayCluster and RayJob: KubeRay's API reference (github.com/ray-project/kuberay,
  docs/reference/api.md, ray.io/v1).
- Pods and network policies: the Kubernetes API reference (core/v1, networking.k8s.io/v1).
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
QUANTITY: Schema = {"type": ["string", "integer"], "pattern": r"^\d+(\.\d+)?(m|Ki|Mi|Gi|Ti)?$"}
DURATION: Schema = {"type": "string", "pattern": r"^\d+(ms|s|m|h)$"}


def record(*required: str, **properties: Schema) -> Schema:
    """An object with these keys and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def several(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


def one_of(*values: str) -> Schema:
    return {"enum": list(values)}


def named(item: Schema) -> Schema:
    return {"type": "object", "additionalProperties": item, "minProperties": 1}


# --- Kubernetes -------------------------------------------------------------------------------------
RESOURCES = record("requests", "limits", requests=named(QUANTITY), limits=named(QUANTITY))
ENVIRONMENT = several(
    {
        "oneOf": [
            record("name", "value", name=TEXT, value=TEXT),
            record(
                "name",
                "valueFrom",
                name=TEXT,
                valueFrom=record(
                    "secretKeyRef", secretKeyRef=record("name", "key", name=TEXT, key=TEXT)
                ),
            ),
        ]
    }
)
CONTAINER = record(
    *("name", "image", "securityContext", "env", "resources"),
    name=TEXT,
    image=TEXT,
    env=ENVIRONMENT,
    resources=RESOURCES,
    securityContext=record(
        *("allowPrivilegeEscalation", "capabilities"),
        allowPrivilegeEscalation={"const": False},
        capabilities=record("drop", drop={"const": ["ALL"]}),
    ),
    ports=several(record("containerPort", "name", containerPort=NUMBER, name=TEXT)),
    volumeMounts=several(
        record("name", "mountPath", name=TEXT, mountPath=TEXT, readOnly=FLAG),
    ),
)
VOLUME = record(
    "name",
    name=TEXT,
    persistentVolumeClaim=record("claimName", claimName=TEXT),
    emptyDir=record(medium=one_of("Memory"), sizeLimit=QUANTITY),
    configMap=record("name", name=TEXT, optional=FLAG),
)
POD = record(
    "spec",
    metadata=record(labels=TEXTS),
    spec=record(
        *("securityContext", "containers"),
        containers=several(CONTAINER),
        volumes=several(VOLUME),
        restartPolicy=one_of("Never", "OnFailure", "Always"),
        terminationGracePeriodSeconds=NUMBER,
        tolerations=several(
            record("key", key=TEXT, operator=one_of("Exists", "Equal"), effect=TEXT, value=TEXT)
        ),
        securityContext=record(
            *("runAsNonRoot", "runAsUser", "seccompProfile"),
            runAsNonRoot={"const": True},
            runAsUser={"type": "integer", "minimum": 1},
            fsGroup=NUMBER,
            seccompProfile=record("type", type=one_of("RuntimeDefault", "Localhost")),
        ),
    ),
)
METADATA = record("name", name=TEXT)
SELECTOR = record(matchLabels=TEXTS)
NETWORK_POLICY = record(
    *("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "networking.k8s.io/v1"},
    kind={"const": "NetworkPolicy"},
    metadata=METADATA,
    spec=record(
        *("podSelector", "policyTypes", "ingress"),
        podSelector=SELECTOR,
        policyTypes=several(one_of("Ingress", "Egress")),
        ingress=several(
            record(
                "from",
                **{"from": several(record(podSelector=SELECTOR, namespaceSelector=SELECTOR))},
                ports=several(record("port", protocol=one_of("TCP", "UDP"), port=NUMBER)),
            )
        ),
    ),
)

# --- KubeRay ----------------------------------------------------------------------------------------
RAY_CLUSTER = record(
    *("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayCluster"},
    metadata=METADATA,
    spec=record(
        *("headGroupSpec", "workerGroupSpecs", "rayVersion"),
        rayVersion=TEXT,
        enableInTreeAutoscaling=FLAG,
        autoscalerOptions=record(
            idleTimeoutSeconds=NUMBER,
            upscalingMode=one_of("Default", "Aggressive", "Conservative"),
            version=one_of("v1", "v2"),
            env=ENVIRONMENT,
            resources=RESOURCES,
        ),
        headGroupSpec=record("rayStartParams", "template", rayStartParams=TEXTS, template=POD),
        workerGroupSpecs=several(
            record(
                *("groupName", "rayStartParams", "template", "maxReplicas"),
                groupName=TEXT,
                replicas=NUMBER,
                minReplicas=NUMBER,
                maxReplicas=NUMBER,
                idleTimeoutSeconds=NUMBER,
                rayStartParams=TEXTS,
                template=POD,
            )
        ),
    ),
)
RAY_JOB = record(
    *("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=METADATA,
    spec=record(
        *("entrypoint", "clusterSelector"),
        entrypoint=TEXT,
        clusterSelector=TEXTS,
        submissionMode=one_of("K8sJobMode", "HTTPMode", "InteractiveMode"),
        backoffLimit=NUMBER,
        activeDeadlineSeconds=NUMBER,
        ttlSecondsAfterFinished=NUMBER,
        shutdownAfterJobFinishes=FLAG,
        submitterPodTemplate=POD,
    ),
)

# --- Compose ----------------------------------------------------------------------------------------
COMMAND: Schema = {"oneOf": [TEXT, several(TEXT)]}
LIMITS = record(cpus=TEXT, memory={"type": "string", "pattern": r"^\d+[KMG]$"})
SERVICE = record(
    *("image", "restart", "security_opt"),
    image=TEXT,
    build=record("context", "dockerfile", context=TEXT, dockerfile=TEXT),
    command=COMMAND,
    entrypoint=COMMAND,
    environment=TEXTS,
    volumes=several(TEXT),
    ports=several({"type": "string", "pattern": r"^127\.0\.0\.1:\d+:\d+$"}),
    init=FLAG,
    security_opt={"const": ["no-new-privileges:true"]},
    cap_drop={"const": ["ALL"]},
    restart=one_of("no", "always", "on-failure", "unless-stopped"),
    profiles=several(TEXT),
    shm_size={"type": "string", "pattern": r"^\d+(mb|gb)$"},
    healthcheck=record(
        "test",
        test=several(TEXT),
        interval=DURATION,
        timeout=DURATION,
        start_period=DURATION,
        retries=NUMBER,
    ),
    depends_on=named(
        record(
            "condition",
            condition=one_of(
                "service_started", "service_healthy", "service_completed_successfully"
            ),
        )
    ),
    deploy=record(
        "resources",
        resources=record(
            "limits",
            limits=LIMITS,
            reservations=record(
                devices=several(
                    record("capabilities", driver=TEXT, count=TEXT, capabilities=several(TEXT))
                )
            ),
        ),
    ),
)
COMPOSE: Schema = {
    **record("services", name=TEXT, services=named(SERVICE), volumes={"type": "object"}),
    "patternProperties": {"^x-": {}},
}
