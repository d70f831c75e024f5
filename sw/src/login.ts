import "@firebase/auth";
