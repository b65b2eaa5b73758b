//! Is there an order that explains this history?
