"""A Culvert device in plain Python: accepts streams named `echo` and sends back what it receives.

It needs only an MQTT library and a WebSocket library. The protocol is described in docs/protocol: the control channel
is MQTT 3.1.1 over WebSocket on the hub's main port, and each stream has its own WebSocket.
"""

import base64
import hashlib
import hmac
import os
import re
import signal
import ssl
import sys
import threading
import time
from urllib.parse import parse_qsl, quote

import paho.mqtt.client as mqtt
import websocket

TOKEN_SECONDS = 3600
KEEPALIVE_SECONDS = 25  # less than the 60 s after which NATs and load balancers drop an idle connection
DIAL_SECONDS = 10
OFFER = re.compile(r"\$iothub/streams/POST/([^/]+)/\?(.+)")


def log(text):
    print(text, file=sys.stderr, flush=True)


def parse_connection_string(text):
    """Parses `HostName=…;DeviceId=…;SharedAccessKey=…`. A device id may contain `;` and `=`."""
    fields = dict(part.split("=", 1) for part in re.split(r";(?=(?:HostName|DeviceId|SharedAccessKey)=)", text.strip()))
    return fields["HostName"], fields["DeviceId"], fields["SharedAccessKey"]


def sas_token(audience, key):
    """Returns a shared access signature: HMAC-SHA256 over the audience, encoded as in the token, and the expiry."""
    expiry = int(time.time()) + TOKEN_SECONDS
    resource = quote(audience, safe="")
    digest = hmac.new(base64.b64decode(key), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    return f"SharedAccessSignature sr={resource}&sig={quote(base64.b64encode(digest), safe='')}&se={expiry}"


def echo(url, token, tls):
    """Connects to the gateway with the grant, and sends received data back until the other side ends."""
    stream = None
    try:
        stream = websocket.create_connection(
            url, header=[f"Authorization: Bearer {token}"], sslopt={"context": tls}, timeout=DIAL_SECONDS
        )
        stream.settimeout(None)
        received = 0
        while True:
            opcode, data = stream.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:  # the library has already answered the close frame
                break
            received += len(data)
            stream.send(data, opcode)
        code = int.from_bytes(data[:2], "big") or "none"
        log(f"stream ended after {received} bytes: close code {code}")
    except (websocket.WebSocketException, OSError) as error:
        log(f"stream lost: {error}")
    finally:
        if stream is not None:
            stream.shutdown()


class EchoDevice:
    def __init__(self, connection_string, ca_file):
        self.host_name, self.device_id, self.key = parse_connection_string(connection_string)
        self.tls = ssl.create_default_context()
        if ca_file:
            self.tls.load_verify_locations(ca_file)
        self.refused = False
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=self.device_id, protocol=mqtt.MQTTv311, transport="websockets"
        )
        self.client.ws_set_options(path="/$iothub/websocket")
        self.client.tls_set_context(self.tls)
        self.client.reconnect_delay_set(min_delay=1, max_delay=30)
        self.client.on_pre_connect = self.renew_token
        self.client.on_connect = self.subscribe
        self.client.on_subscribe = lambda *_: log(f"attached as {self.device_id}")
        self.client.on_disconnect = lambda _client, _data, _flags, reason, _properties: log(f"detached: {reason}")
        self.client.on_message = self.answer

    def renew_token(self, client, _data):
        """Creates a new token for each connection. When it expires, the hub ends the connection, and the client reconnects."""
        client.username_pw_set(
            f"{self.host_name}/{self.device_id}/?api-version=2020-09-30",
            sas_token(f"{self.host_name}/devices/{self.device_id}", self.key),
        )

    def subscribe(self, client, _data, _flags, reason, _properties):
        if reason.is_failure:
            log(f"the hub refused: {reason}")
            self.refused = True
            client.disconnect()  # a retry with the same key would fail too
        else:
            client.subscribe("$iothub/streams/POST/#", qos=0)

    def answer(self, client, _data, message):
        match = OFFER.fullmatch(message.topic)
        if match is None:
            return
        name, parameters = match[1], dict(parse_qsl(match[2], strict_parsing=True))
        accepted = name == "echo"
        log(f"offer {name}: {'accepted' if accepted else 'rejected'}")
        client.publish(
            f"$iothub/streams/res/{200 if accepted else 400}/?$rid={parameters['$rid']}",
            b"" if accepted else f"This device offers echo, not {name}.".encode(),
        )
        if accepted:
            grant = (parameters["$url"], parameters["$auth"], self.tls)
            threading.Thread(target=echo, args=grant, daemon=True).start()

    def run(self):
        host, _, port = self.host_name.rpartition(":") if ":" in self.host_name else (self.host_name, "", "443")
        self.client.connect_async(host, int(port), keepalive=KEEPALIVE_SECONDS)
        self.client.loop_forever(retry_first_connection=True)
        return 1 if self.refused else 0


def main():
    device = EchoDevice(os.environ["CULVERT_DEVICE_CONNECTION_STRING"], os.environ.get("CULVERT_CA_FILE"))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: device.client.disconnect())
    return device.run()


if __name__ == "__main__":
    sys.exit(main())
