//! Systems whose levers nobody has tried.

use super::super::table::System;
use super::super::{Backend, Level, Refusal};
use crate::clock::Clock;

/// Has no lever.
#[derive(Debug)]
pub(in crate::priority) struct Machine;

impl Machine {
    pub(in crate::priority) fn new(_: Clock) -> Self {
        Self
    }
}

impl System for Machine {
    type Process = i32;

    fn find(&mut self, _: &Backend) -> Result<i32, Refusal> {
        Err(Refusal::NoLever)
    }

    fn find_worker(&mut self, _: i32, _: &i32) -> Result<i32, Refusal> {
        Err(Refusal::NoLever)
    }

    fn set(&mut self, _: &i32, _: Level) -> Result<(), Refusal> {
        Err(Refusal::NoLever)
    }
}
