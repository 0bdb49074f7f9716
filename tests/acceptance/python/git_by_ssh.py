"""Serves the git repositories below a directory by SSH, to one key.

Usage: git_by_ssh.py PORT DIRECTORY AUTHORIZED_KEY-FILE HOST_KEY-FILE
"""

import os
import shlex
import socket
import subprocess
import sys
import threading

import paramiko

port, root, authorized, host_key_file = sys.argv[1:]
with open(authorized, encoding="ascii") as file:
    AUTHORIZED = file.read().split()[1]
HOST_KEY = paramiko.ECDSAKey.from_private_key_file(host_key_file)


class Server(paramiko.ServerInterface):
    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        right = username == "git" and key.get_base64() == AUTHORIZED
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_env_request(self, channel, name, value):
        return False

    def check_channel_exec_request(self, channel, command):
        words = shlex.split(command.decode())
        if len(words) != 2 or words[0] != "git-upload-pack":
            return False
        path = os.path.realpath(os.path.join(root, words[1].lstrip("/~")))
        if not path.startswith(os.path.realpath(root) + "/"):
            return False
        threading.Thread(target=serve, args=(channel, path), daemon=True).start()
        return True


def serve(channel, path):
    process = subprocess.Popen(
        ["git", "upload-pack", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )

    def forward():
        while data := channel.recv(65536):
            process.stdin.write(data)
            process.stdin.flush()
        process.stdin.close()

    threading.Thread(target=forward, daemon=True).start()
    while data := process.stdout.read1(65536):
        channel.sendall(data)
    channel.send_exit_status(process.wait())
    channel.close()


def connected(connection):
    transport = paramiko.Transport(connection)
    transport.add_server_key(HOST_KEY)
    try:
        transport.start_server(server=Server())
    except (paramiko.SSHException, EOFError, OSError):
        # Who only asked for the host's keys is gone.
        transport.close()


listener = socket.create_server(("127.0.0.1", int(port)))
while True:
    connected_to, _ = listener.accept()
    threading.Thread(target=connected, args=(connected_to,), daemon=True).start()
