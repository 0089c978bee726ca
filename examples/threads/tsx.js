// Given to each thread by --import: on Node 20 tsx does not get there by itself. Compiled code needs none of this.
import { register } from "tsx/esm/api";

register();
