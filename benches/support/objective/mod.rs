//! The bench of the closed loop: `arms` are the lanes that are compared, `real` runs them and follows the loop, `simulated`
//! does the same in the simulator, `trace` and `picture` write down what was seen.

pub mod arguments;
pub mod arms;
pub mod picture;
pub mod real;
pub mod simulated;
pub mod trace;
