// A weight as it is read: three significant digits, so that small ones are not all zero.
const weightWords = (weight) => (weight <= 0 ? "0" : weight < 0.001 ? "<0.001" : weight.toPrecision(3));
