/** Where in the pattern the two directions of a connection begin: apart, so that bytes of one never pass for the other's. */
export const TO_SERVER = 7_919;
export const TO_CLIENT = 524_309;
