"""An independent RTSP server (GStreamer's gst-rtsp-server) over media files. Runs under Debian's /usr/bin/python3.

Usage: /usr/bin/python3 gst_rtsp_server.py '<JSON>'
    {"mounts": [{"path": "/cam1", "file": "/abs/a.mp4", "video": "h264", "audio": "aac"}],
     "user": "admin", "password": "secret", "cert": "cert.pem", "key": "key.pem"}
`video` is h264, h265, mjpeg or null; `audio` aac, pcmu, pcma or null; account and certificate are optional. Digest only.
Prints one JSON line {"port": N} when it accepts connections; ends on SIGTERM. Exit status 3: GStreamer is missing.
"""

import json
import signal
import sys

INSTALL = "apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad glib-networking"

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer
except (ImportError, ValueError) as error:
    sys.stderr.write(f"GStreamer's RTSP server is not installed ({error}): {INSTALL}\n")
    sys.exit(3)

DEMUXERS = {"mp4": "qtdemux", "mov": "qtdemux", "mkv": "matroskademux", "ts": "tsdemux"}
VIDEO = {
    "h264": "h264parse ! rtph264pay pt=96 config-interval=-1",
    "h265": "h265parse ! rtph265pay pt=96 config-interval=-1",
    "mjpeg": "jpegparse ! rtpjpegpay pt=26",
}
AUDIO = {"aac": "aacparse ! rtpmp4gpay pt=97", "pcmu": "rtppcmupay pt=0", "pcma": "rtppcmapay pt=8"}
ROLE = "viewer"


def launch_line(mount):
    """The pipeline of one mount: demultiplex, parse, payload; no re-encoding."""
    file = mount["file"]
    demuxer = DEMUXERS[file.rsplit(".", 1)[-1].lower()]
    parts = [f'filesrc location="{file}" ! {demuxer} name=demux']
    payloaders = [VIDEO[mount["video"]]] if mount.get("video") else []
    payloaders += [AUDIO[mount["audio"]]] if mount.get("audio") else []
    for number, chain in enumerate(payloaders):
        kind = "video" if mount.get("video") and number == 0 else "audio"
        pad = f"{kind}_0" if demuxer != "tsdemux" else ""
        parts.append(f"demux.{pad} ! queue ! {chain} name=pay{number}")
    return "( " + " ".join(parts) + " )"


def protect(server, config):
    """Digest account and certificate, as far as they are asked for."""
    if not config.get("user") and not config.get("cert"):
        return
    auth = GstRtspServer.RTSPAuth.new()
    token = GstRtspServer.RTSPToken.new()
    token.set_string("media.factory.role", ROLE)
    if config.get("user"):
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(config["user"], config["password"], token)
    else:
        auth.set_default_token(token)
    if config.get("cert"):
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(config["cert"], config["key"]))
    server.set_auth(auth)


def main():
    config = json.loads(sys.argv[1])
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service("0")
    protect(server, config)
    for mount in config["mounts"]:
        factory = GstRtspServer.RTSPMediaFactory.new()
        factory.set_launch(launch_line(mount))
        permissions = GstRtspServer.RTSPPermissions.new()
        for permission in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role(ROLE, permission, True)
        factory.set_permissions(permissions)
        server.get_mount_points().add_factory(mount["path"], factory)
    loop = GLib.MainLoop()
    if server.attach(None) == 0:
        sys.exit("the RTSP port cannot be opened")
    GLib.unix_signal_add(GLib.PRIORITY_HIGH, signal.SIGTERM, loop.quit)
    sys.stdout.write(json.dumps({"port": server.get_bound_port()}) + "\n")
    sys.stdout.flush()
    loop.run()


main()
