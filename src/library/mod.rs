//! The surface of the library: what `use deadweight::prelude::*` brings.

mod count;
mod inputs;
mod layer;
mod measuring;
mod model;
mod net;
mod probe;
mod run;
mod session;
mod tensor;

pub use count::{Window, count};
pub use inputs::{Input, Inputs, Loaded};
pub use layer::LayerInfo;
pub use measuring::Measuring;
pub use model::{Class, Model, ModelLoader};
pub use net::{Conv, Net, NetBuilder, Params, Var};
pub use probe::{Operand, Probe, Tile, Wants};
pub use run::{Figures, Macs, Run, Work};
pub use session::{Captured, Session, SessionBuilder};
pub use tensor::Tensor;
