//! Who gets in, what those outside can do, and what is never said.

mod canary;
mod login;
mod outside;
mod upstream;
