"""A headless Chromium, driven by the DevTools protocol through a pipe: nothing beside Python and the browser is needed."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time


class Browser:
    """One browser process with one page; use it in a `with`."""

    def __init__(self, deadline=60):
        program = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
        if program is None:
            raise SystemExit("no Chromium: apt-get install -qy chromium")
        self.deadline = deadline
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, self.write_end = os.pipe()
        self.read_end, from_browser = os.pipe()

        def ends():
            # The browser reads from 3 and writes to 4; the ends may have these numbers themselves.
            low = [os.dup(to_browser), os.dup(from_browser)]
            spare = [os.dup(low[0]), os.dup(low[1])]
            os.dup2(spare[0], 3)
            os.dup2(spare[1], 4)

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"]
        line = [program, *flags, "--remote-debugging-pipe", f"--user-data-dir={self.profile.name}", "about:blank"]
        self.process = subprocess.Popen(line, close_fds=False, preexec_fn=ends, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.rest, self.number, self.events, self.session = b"", 0, [], None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.profile.cleanup()

    def call(self, method, **params):
        """The answer to a command."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + self.deadline
        while True:
            answer = self.next(until)
            if answer.get("id") == message["id"]:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def next(self, until):
        """The next message of the browser."""
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.read_end], [], [], max(until - time.monotonic(), 0))
            if not ready:
                raise RuntimeError(f"the browser says nothing for {self.deadline} s")
            data = os.read(self.read_end, 1 << 16)
            if not data:
                raise RuntimeError("the browser has ended")
            self.rest += data
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def size(self, width, height, scheme="light", media=""):
        """The extents of the page in pixels, the colours that the reader prefers, and the medium."""
        self.extents = width, height, scheme, media
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])

    def load(self, path, hash=""):
        """Opens a file; returns what it complained about: errors, exceptions, and anything it loads."""
        self.call("Page.navigate", url="about:blank")
        self.events.clear()
        loader = self.call("Page.navigate", url=f"file://{os.path.abspath(path)}{hash}")["loaderId"]
        until = time.monotonic() + self.deadline

        def is_loaded(event):
            # Of this page: that of the one before it may come late.
            params = event.get("params", {})
            return event.get("method") == "Page.lifecycleEvent" and (params["name"], params["loaderId"]) == ("load", loader)

        while not any(map(is_loaded, self.events)):
            self.events.append(self.next(until))
        # Two frames: what is drawn is then painted.
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self.complaints()

    def complaints(self):
        """What went wrong so far."""
        self.call("Runtime.evaluate", expression="0")
        wrong = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                wrong.append(details.get("exception", {}).get("description", details["text"]))
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                wrong.append("console: " + " ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"]))
            elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                wrong.append("log: " + params["entry"]["text"])
            elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:", "blob:", "about:")):
                wrong.append("loads " + params["request"]["url"])
        return wrong

    def evaluate(self, expression):
        """The value of an expression of the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", "exception"))
        return answer["result"].get("value")

    def press(self, key, code=None, text=None):
        """A key, pressed and released."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39, "/": 191}
        number = code or codes.get(key, ord(key.upper()[0]))
        text = text or ("\r" if key == "Enter" else key if len(key) == 1 else None)
        params = {"key": key, "windowsVirtualKeyCode": number, **({"text": text} if text else {})}
        self.call("Input.dispatchKeyEvent", type="keyDown", **params)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=number)

    def picture(self, path):
        """Saves what the whole page looks like, as a PNG file."""
        width, height, scheme, media = self.extents
        self.size(width, min(self.evaluate("document.documentElement.scrollHeight"), 16000), scheme, media)
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        data = self.call("Page.captureScreenshot", format="png")["data"]
        self.size(width, height, scheme, media)
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
