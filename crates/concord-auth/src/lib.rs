//! Who is this, and may they? What have they used?
