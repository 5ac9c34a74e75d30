//! Classifier, scheduler and throttles: decides which transaction runs when. Pure, std only.
