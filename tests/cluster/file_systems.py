"""File systems that two machines share, on one machine: each yields two folders in which the same volume is mounted.

For network_fs.py, which says what each stands for, and which runs this in namespaces of its own.
"""

import contextlib
import os
import subprocess

from slurm import run, wait_for

# Gluster takes no loopback address.
ADDRESS = "10.77.0.1"
# A server as glusterd writes it, without what locks (`features/locks`); the client takes what the server has.
SERVER = """
volume store
    type storage/posix
    option directory {place}/brick
end-volume
volume {place}/brick
    type features/access-control
    subvolumes store
end-volume
volume server
    type protocol/server
    option transport-type tcp
    option transport.socket.bind-address {address}
    option transport.socket.listen-port 24100
    option auth.addr.{place}/brick.allow *
    subvolumes {place}/brick
end-volume
"""
CLIENT = """
volume client
    type protocol/client
    option transport-type tcp
    option remote-host {address}
    option remote-port 24100
    option remote-subvolume {place}/brick
end-volume
"""


@contextlib.contextmanager
def mounts(place, mount):
    """Two folders to mount on by a command for each."""
    folders = [os.path.join(place, name) for name in ("a", "b")]
    with contextlib.ExitStack() as stack:
        for folder in folders:
            os.mkdir(folder)
            run(*mount(folder))
            stack.callback(subprocess.run, ["umount", "--lazy", folder], check=False)
        yield folders


@contextlib.contextmanager
def daemon(*words):
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def gluster(place):
    os.mkdir(os.path.join(place, "brick"))
    volume = ["gluster", "--mode=script", "volume"]
    quiet = {"stdout": subprocess.DEVNULL}
    with daemon("glusterd", "--no-daemon"):
        answers = lambda: subprocess.run([*volume, "info"], capture_output=True).returncode == 0
        wait_for("glusterd", answers)
        run(*volume, "create", "shared", "%s:%s/brick" % (ADDRESS, place), "force", **quiet)
        run(*volume, "start", "shared", **quiet)
        with mounts(place, lambda folder: ["mount", "-t", "glusterfs", ADDRESS + ":/shared", folder]) as folders:
            yield folders
        run(*volume, "stop", "shared", **quiet)


@contextlib.contextmanager
def gluster_without_locks(place):
    os.mkdir(os.path.join(place, "brick"))
    for name, text in (("server", SERVER), ("client", CLIENT)):
        with open("%s/%s.vol" % (place, name), "w", encoding="utf-8") as file:
            file.write(text.format(place=place, address=ADDRESS))
    with daemon("glusterfsd", "--no-daemon", "--volfile=%s/server.vol" % place, "--log-file=%s/server.log" % place):
        mount = lambda folder: ["glusterfs", "--volfile=%s/client.vol" % place, "--log-file=%s.log" % folder, folder]
        with mounts(place, mount) as folders:
            yield folders


@contextlib.contextmanager
def bindfs(place):
    os.mkdir(os.path.join(place, "brick"))
    with mounts(place, lambda folder: ["bindfs", "%s/brick" % place, folder]) as folders:
        yield folders


@contextlib.contextmanager
def sshfs(place):
    os.mkdir(os.path.join(place, "brick"))
    # Its server at the other end of a pipe instead of that of ssh, with whose options it could do nothing.
    server = os.path.join(place, "server")
    with open(os.open(server, os.O_WRONLY | os.O_CREAT, 0o700), "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n")
    mount = lambda folder: ["sshfs", "-o", "ssh_command=" + server, "here:%s/brick" % place, folder]
    with mounts(place, mount) as folders:
        yield folders
