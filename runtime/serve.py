#!/usr/bin/env python3
"""Serves one GGUF model as an OpenAI-compatible API on 127.0.0.1: fusor's embedded model runtime.

Started by fusor for a provider of `kind: local` without a `command`; the process ends with the one that
started it. The key that every request must bring comes in the environment (FUSOR_LOCAL_KEY), since
arguments are everybody's to read.

    serve.py --model FILE --port N [--context TOKENS] [--parallel SLOTS] [--threads N]
"""

import argparse
import os
import pathlib
import sys
import time

PARENT_LOOK_S = 2
# llama.cpp keeps prompts that have left their slot in memory, by default up to 8 GiB.
PROMPT_CACHE_MIB = 256
WARNINGS = 2  # of llama.cpp's levels of log


def arguments():
    p = argparse.ArgumentParser(prog="serve.py", description="Serve a GGUF model on 127.0.0.1.")
    p.add_argument("--model", required=True, help="path of the GGUF file")
    p.add_argument("--port", required=True, type=int)
    p.add_argument("--context", type=int, default=8192, help="tokens of all slots together")
    p.add_argument("--parallel", type=int, default=1, help="slots: requests at once")
    p.add_argument("--threads", type=int, default=0, help="0: all cores")
    return p.parse_args()


def parameters(xllamacpp, args, key):
    p = xllamacpp.CommonParams()
    threads = args.threads or len(os.sched_getaffinity(0))
    p.model.path = args.model
    p.model_alias = {pathlib.PurePath(args.model).stem}  # else answers name the path
    p.hostnames = ["127.0.0.1"]
    p.port = args.port
    p.api_keys = [key]
    p.n_ctx = args.context
    p.n_parallel = args.parallel
    p.cpuparams.n_threads = threads
    p.cpuparams_batch.n_threads = threads
    p.cache_prompt = True
    p.cache_ram_mib = PROMPT_CACHE_MIB
    p.endpoint_slots = False
    p.ui = False
    p.offline = True
    p.verbosity = WARNINGS
    return p


def main():
    parent = os.getppid()
    args = arguments()
    key = os.environ.pop("FUSOR_LOCAL_KEY", "")
    if not key:
        sys.exit("serve.py: FUSOR_LOCAL_KEY is not set; fusor sets it")
    if not os.path.isfile(args.model):
        sys.exit(f"serve.py: there is no model file {args.model}")
    try:
        import xllamacpp
    except ImportError as e:
        sys.exit(f"serve.py: cannot load xllamacpp ({e}); run runtime/setup.sh again")
    try:
        server = xllamacpp.Server(parameters(xllamacpp, args, key))
    except Exception as e:
        sys.exit(f"serve.py: cannot serve {args.model}: {e}")
    # fusor's guard ends this process; should the guard itself be killed, nobody else would.
    while os.getppid() == parent:
        time.sleep(PARENT_LOOK_S)
    del server


if __name__ == "__main__":
    main()
