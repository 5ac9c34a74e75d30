//! What statements are found to be and to do, by example and at random.

mod effects;
mod kinds;
mod names;
mod random;
