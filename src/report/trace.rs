//! Traces in Chrome's trace event format, which Perfetto opens: slices of one thread, and counters along the time.

use serde_json::{Map, Value, json};

/// The process and the thread of all events.
const PROCESS: u32 = 1;
const THREAD: u32 = 1;

/// The beginning of a trace of the program `process`, whose slices are of `thread`.
pub fn start(process: &str, thread: &str) -> String {
    let name = |what: &str, name: &str| json!({ "ph": "M", "pid": PROCESS, "tid": THREAD, "name": what, "args": { "name": name } });
    let (process, thread) = (name("process_name", process), name("thread_name", thread));
    format!("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{process},\n{thread}")
}

/// A slice that begins at `start` and takes `duration`, both in microseconds.
pub fn slice(name: &str, category: &str, (start, duration): (f64, f64), args: Map<String, Value>) -> String {
    let event = json!({
        "ph": "X", "pid": PROCESS, "tid": THREAD, "name": name, "cat": category, "ts": start, "dur": duration, "args": args,
    });
    format!(",\n{event}")
}

/// The counter `name` has `value`, in `unit`, from `time` on.
pub fn counter(name: &str, unit: &str, time: f64, value: f64) -> String {
    let event = json!({ "ph": "C", "pid": PROCESS, "tid": THREAD, "name": name, "ts": time, "args": { unit: value } });
    format!(",\n{event}")
}

/// The end of a trace, with what is to be known of it.
pub fn end(about: &Value) -> String {
    format!("\n],\"otherData\":{about}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_one_document() {
        let args = Map::from_iter([("macs".to_owned(), json!(12))]);
        let text = [
            start("deadweight run", "layers"),
            slice("conv1", "layer", (1.5, 20.25), args),
            counter("zeros", "%", 1.5, 50.0),
            end(&json!({ "inputs": 1 })),
        ];
        let trace: Value = serde_json::from_str(&text.concat()).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        assert_eq!(events.len(), 4);
        assert_eq!(events[2]["args"]["macs"], 12);
        assert_eq!((&events[2]["ts"], &events[2]["dur"]), (&json!(1.5), &json!(20.25)));
        assert_eq!(events[3]["args"]["%"], 50.0);
        assert_eq!(trace["otherData"]["inputs"], 1);
    }
}
