//! Running a graph: the native engine on our kernels, and the same graph on candle's operations.

pub mod candle;
