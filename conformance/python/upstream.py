"""Stands in for the modules `e2e_test.base` of the package, which are not published: where its tests find the cluster."""

import asyncio
import os
import sys
import types

from kubernetes import aio, client, config


def blocking():
    configuration = client.Configuration()
    config.load_kube_config(os.environ["KUBECONFIG"], client_configuration=configuration)
    return configuration


def asynchronous():
    configuration = aio.client.Configuration()
    asyncio.run(aio.config.load_kube_config(os.environ["KUBECONFIG"], client_configuration=configuration))
    return configuration


for package, reader in (("kubernetes", blocking), ("kubernetes.aio", asynchronous)):
    folder = types.ModuleType(f"{package}.e2e_test")
    folder.base = types.ModuleType(f"{package}.e2e_test.base")
    folder.base.get_e2e_configuration = reader
    sys.modules[folder.__name__] = folder
    sys.modules[folder.base.__name__] = folder.base
